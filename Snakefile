# tellsign: four papers on detecting AI-generated images, every table and figure.
#
#   snakemake --cores 8 tables      the tables of the configuration (default: the embedded demo)
#   snakemake --cores 8 figures     its figures
#   snakemake --cores 8 report      one page with all of them
#   snakemake --cores 8 all         the three together
#   snakemake --cores 8 mpft        one paper's tables and figures
#   snakemake --cores 8 mpft-table1 one of them
#   snakemake --cores 8 mpft-table1-tam   the row of one run alone, as a table of its own
#
# Another configuration: --configfile config/folder.yaml --config root=PATH
# Snakemake reads that file before this one, so a mistyped name ends in a traceback of its own, the name in its last
# line; `tellsign doctor --configfile FILE` says which file was meant.
# Rules are included in running order. What each artifact is made from, and its path, follows from src/tellsign/plan.

from snakemake.utils import min_version

min_version("9.20")

if "name" not in config:  # no --configfile was given

    configfile: "config/config.yaml"


# used with --sdm apptainer only; workflow/tellsign.def says how to build it
container: "workflow/tellsign.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/demo.smk"
include: "workflow/rules/index.smk"
include: "workflow/rules/annotate.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


localrules:
    tables,
    figures,
    all,
    table,  # half a second each, as is the report: on a cluster no job of their own
    report,


rule tables:
    default_target: True
    input:
        paths(PLAN.tables()),


rule figures:
    input:
        paths(PLAN.figures()),


rule all:
    input:
        rules.tables.input,
        rules.figures.input,
        rules.report.output,


# one target a paper, one a table or figure, one a row: `snakemake --cores 8 mpft`, `… mpft-table1`, `… mpft-table1-tam`
for target, wanted in PLAN.targets_and_rows().items():

    rule:
        name:
            target
        localrule: True
        input:
            paths(wanted),

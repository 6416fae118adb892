# Tables, figures, and the page that shows them.
#
# reads   data/evaluate/..., data/index/..., config/published/*.csv; for some figures also checkpoints and crops
# writes  data/table/PAPER/NAME.FP/          table.csv, .md, .tex, .html
#         data/figure/PAPER/NAME.FP/         figure.png, .svg, .csv
#         data/report/NAME.FP.html           all of them on one page
# links   results/CONFIGURATION/             the latest of each, under plain names


rule table:
    """One table in four formats: data/table/mpft/table1.0123456789ab/"""
    input:
        metrics=inputs_for("table", "metrics"),
        indexes=inputs_for("table", "indexes"),
        seen=inputs_for("table", "seen"),
        tested=inputs_for("table", "tested"),
    output:
        table=report(
            directory("data/table/{name}.{fp}"),
            htmlindex="table.html",
            caption="../report/table.rst",
            category="Tables",
        ),
    log:
        "logs/table/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("table"),
        indexes=key_path_pairs("table", "indexes"),
        seen=key_path_pairs("table", "seen"),
        tested=key_path_pairs("table", "tested"),
        published=published,
    shell:
        "tellsign table"
        " --settings {params.settings:q}"
        " --metrics {input.metrics:q}"
        " --indexes {params.indexes:q}"
        " --seen {params.seen:q}"
        " --tested {params.tested:q}"
        " {params.published:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule figure:
    """One figure: data/figure/lol/fig4.0123456789ab/"""
    input:
        metrics=inputs_for("figure", "metrics"),
        checkpoints=inputs_for("figure", "checkpoints"),
        encoders=inputs_for("figure", "encoders"),
        splits=inputs_for("figure", "splits"),
        crops=inputs_for("figure", "crops"),
        features=inputs_for("figure", "features"),
    output:
        figure=report(
            directory("data/figure/{name}.{fp}"),
            patterns=["figure.png"],
            caption="../report/figure.rst",
            category="Figures",
        ),
    log:
        "logs/figure/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("figure"),
        checkpoints=key_path_pairs("figure", "checkpoints"),
        encoders=key_path_pairs("figure", "encoders"),
        features=key_path_pairs("figure", "features"),
        splits=key_path_pairs("figure", "splits"),
        crops=key_path_pairs("figure", "crops"),
    shell:
        "tellsign figure"
        " --settings {params.settings:q}"
        " --metrics {input.metrics:q}"
        " --checkpoints {params.checkpoints:q}"
        " --encoders {params.encoders:q}"
        " --splits {params.splits:q}"
        " --crops {params.crops:q}"
        " --features {params.features:q}"
        " --out {output.figure:q}"
        " > {log:q} 2>&1"


rule report:
    """All tables and figures on one page: data/report/demo.0123456789ab.html"""
    input:
        tables=paths(PLAN.tables()),
        figures=paths(PLAN.figures()),
    output:
        page=PLAN.report().path,
    log:
        "logs/report/report.log",
    threads: 1
    params:
        settings=json.dumps(PLAN.report().settings, sort_keys=True),
    shell:
        "tellsign report"
        " --settings {params.settings:q}"
        " --tables {input.tables:q}"
        " --figures {input.figures:q}"
        " --out {output.page:q}"
        " > {log:q} 2>&1"

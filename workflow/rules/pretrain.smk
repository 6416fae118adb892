# rescale's contrastive pre-training.
#
# reads   cache/crops/photos-whole.FP/       whole decoded photographs, real ones only; or, where the recipe says
#                                            decode: on_the_fly, the split and the photographs' own files
# writes  data/pretrain/PAPER/NAME.FP/       the encoder; its projection head is discarded
# resumes from data/work/FP/, the last whole epoch
#
# A process a GPU, all on one batch: snakemake --set-resources pretrain:gpu=8 --set-threads pretrain=32


rule pretrain:
    input:
        crops=need("pretrain", "crops"),
        split=need("pretrain", "split"),
        made=need("pretrain", "made"),
    output:
        encoder=directory("data/pretrain/{name}.{fp}"),
    log:
        "logs/pretrain/{name}.{fp}.log",
    threads: 1
    priority: 30
    resources:
        gpu=1,
    params:
        settings=settings("pretrain"),
        crops=optional("pretrain", "crops"),
        split=optional("pretrain", "split"),
        roots=roots("pretrain"),
        processes=lambda wildcards, resources: max(1, resources.gpu),
    shell:
        "tellsign --gpus {resources.gpu} pretrain"
        " --settings {params.settings:q}"
        " {params.crops:q}"
        " {params.split:q}"
        " --roots {params.roots:q}"
        " --processes {params.processes:q}"
        " --work data/work/{wildcards.fp}"
        " --out {output.encoder:q}"
        " > {log:q} 2>&1"

# rescale's contrastive pre-training.
#
# reads   cache/crops/photos-whole.FP/       whole decoded photographs, real ones only
# writes  data/pretrain/PAPER/NAME.FP/       the encoder; its projection head is discarded
# resumes from data/work/FP/, the last whole epoch


rule pretrain:
    input:
        crops=need("pretrain", "crops"),
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
    shell:
        "tellsign pretrain"
        " --settings {params.settings:q}"
        " --crops {input.crops:q}"
        " --work data/work/{wildcards.fp}"
        " --out {output.encoder:q}"
        " > {log:q} 2>&1"

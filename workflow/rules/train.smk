# One job a run and seed.
#
# reads   the split, its crops or features, and what the recipe starts from
# writes  data/train/PAPER/RUN-sSEED.FP/        checkpoint of a detector trained on images
#         data/train_head/PAPER/RUN-sSEED.FP/   checkpoint of a head trained on features (TIDY)
# resumes from data/work/FP/, the last whole epoch


rule train:
    input:
        split=need("train", "split"),
        crops=need("train", "crops"),
        start=need("train", "start"),
        validation_split=need("train", "validation_split"),
        validation_crops=need("train", "validation_crops"),
    output:
        checkpoint=directory("data/train/{name}.{fp}"),
    log:
        "logs/train/{name}.{fp}.log",
    threads: 1
    priority: 10
    resources:
        gpu=1,
    params:
        settings=settings("train"),
        start=optional("train", "start"),
        validation_split=optional("train", "validation_split"),
        validation_crops=optional("train", "validation_crops"),
    shell:
        "tellsign --gpus {resources.gpu} train"
        " --settings {params.settings:q}"
        " --split {input.split:q}"
        " --crops {input.crops:q}"
        " {params.start:q}"
        " {params.validation_split:q}"
        " {params.validation_crops:q}"
        " --work data/work/{wildcards.fp}"
        " --out {output.checkpoint:q}"
        " > {log:q} 2>&1"


rule train_head:
    input:
        split=need("train_head", "split"),
        features=need("train_head", "features"),
    output:
        checkpoint=directory("data/train_head/{name}.{fp}"),
    log:
        "logs/train_head/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("train_head"),
    shell:
        "tellsign train_head"
        " --settings {params.settings:q}"
        " --split {input.split:q}"
        " --features {input.features:q}"
        " --out {output.checkpoint:q}"
        " > {log:q} 2>&1"

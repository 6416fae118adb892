# One job a run and seed.
#
# reads   the split, its crops or features, and what the recipe starts from
# writes  data/train/PAPER/RUN-sSEED.FP/        checkpoint of a detector trained on images
#         data/train_head/PAPER/RUN-sSEED.FP/   checkpoint of a head trained on features (TIDY)
# resumes from data/work/FP/, the last whole epoch


rule train:
    input:
        split=inputs_for("train", "split"),
        crops=inputs_for("train", "crops"),
        start=inputs_for("train", "start"),
        validation_split=inputs_for("train", "validation_split"),
        validation_crops=inputs_for("train", "validation_crops"),
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
        start=optional_flag("train", "start"),
        validation_split=optional_flag("train", "validation_split"),
        validation_crops=optional_flag("train", "validation_crops"),
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
        split=inputs_for("train_head", "split"),
        features=inputs_for("train_head", "features"),
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

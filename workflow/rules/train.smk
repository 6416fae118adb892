# One job for each run and seed. The plan says which inputs a method reads, and in which roles.
#
# reads   the split, the method's inputs (crops or features), and the checkpoint or encoder that the recipe starts from
# writes  data/train/PAPER/RUN-sSEED.FP/        the checkpoint
#         data/train_head/PAPER/RUN-sSEED.FP/   the same, by a method that needs no GPU (TIDY's heads); a separate
#                                               rule, so that a cluster can give it fewer resources
# resumes from the last complete epoch, in data/work/FP/


rule train:
    """The checkpoint of one run and seed: data/train/mpft/tam-s0.0123456789ab/"""
    input:
        split=inputs_for("train", "split"),
        inputs=inputs_for("train", "inputs"),
        start=inputs_for("train", "start"),
        validation_split=inputs_for("train", "validation_split"),
        validation_inputs=inputs_for("train", "validation_inputs"),
    output:
        checkpoint=directory("data/train/{name}.{fp}"),
    log:
        "logs/train/{name}.{fp}.log",
    threads: 1
    priority: 10
    resources:
        gpu=1,
    params:
        stage="train",
        settings=settings("train"),
        inputs=key_path_pairs("train", "inputs"),
        start=optional_flag("train", "start"),
        validation_split=optional_flag("train", "validation_split"),
        validation_inputs=optional_pairs("train", "validation_inputs"),
    shell:
        "tellsign --gpus {resources.gpu} {params.stage:q}"
        " --settings {params.settings:q}"
        " --split {input.split:q}"
        " --inputs {params.inputs:q}"
        " {params.start:q}"
        " {params.validation_split:q}"
        " {params.validation_inputs:q}"
        " --work data/work/{wildcards.fp}"
        " --out {output.checkpoint:q}"
        " > {log:q} 2>&1"


use rule train as train_head with:
    input:
        split=inputs_for("train_head", "split"),
        inputs=inputs_for("train_head", "inputs"),
        start=inputs_for("train_head", "start"),
        validation_split=inputs_for("train_head", "validation_split"),
        validation_inputs=inputs_for("train_head", "validation_inputs"),
    output:
        checkpoint=directory("data/train_head/{name}.{fp}"),
    log:
        "logs/train_head/{name}.{fp}.log",
    threads: 1
    priority: 0
    resources:
        gpu=0,
    params:
        stage="train_head",
        settings=settings("train_head"),
        inputs=key_path_pairs("train_head", "inputs"),
        start=optional_flag("train_head", "start"),
        validation_split=optional_flag("train_head", "validation_split"),
        validation_inputs=optional_pairs("train_head", "validation_inputs"),

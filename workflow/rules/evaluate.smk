# One scoring job covers all seeds and test sets of a run; metrics come from scores alone.
#
# reads   checkpoints, test splits, their crops or features
# writes  data/score/PAPER/RUN.FP.parquet       p(fake) of every image
#         data/score_head/PAPER/RUN.FP.parquet  the same for TIDY's heads
#         data/evaluate/PAPER/RUN.FP.parquet    metrics with intervals


rule score:
    input:
        checkpoints=inputs_for("score", "checkpoints"),
        splits=inputs_for("score", "splits"),
        crops=inputs_for("score", "crops"),
    output:
        scores="data/score/{name}.{fp}.parquet",
    log:
        "logs/score/{name}.{fp}.log",
    threads: 1
    priority: 15
    resources:
        gpu=1,
    params:
        settings=settings("score"),
        checkpoints=key_path_pairs("score", "checkpoints"),
        splits=key_path_pairs("score", "splits"),
        crops=key_path_pairs("score", "crops"),
    shell:
        "tellsign --gpus {resources.gpu} score"
        " --settings {params.settings:q}"
        " --checkpoints {params.checkpoints:q}"
        " --splits {params.splits:q}"
        " --crops {params.crops:q}"
        " --out {output.scores:q}"
        " > {log:q} 2>&1"


rule score_head:
    input:
        checkpoints=inputs_for("score_head", "checkpoints"),
        splits=inputs_for("score_head", "splits"),
        features=inputs_for("score_head", "features"),
    output:
        scores="data/score_head/{name}.{fp}.parquet",
    log:
        "logs/score_head/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("score_head"),
        checkpoints=key_path_pairs("score_head", "checkpoints"),
        splits=key_path_pairs("score_head", "splits"),
        features=key_path_pairs("score_head", "features"),
    shell:
        "tellsign score_head"
        " --settings {params.settings:q}"
        " --checkpoints {params.checkpoints:q}"
        " --splits {params.splits:q}"
        " --features {params.features:q}"
        " --out {output.scores:q}"
        " > {log:q} 2>&1"


rule evaluate:
    input:
        scores=inputs_for("evaluate", "scores"),
        splits=inputs_for("evaluate", "splits"),
        checkpoints=inputs_for("evaluate", "checkpoints"),
    output:
        metrics="data/evaluate/{name}.{fp}.parquet",
    log:
        "logs/evaluate/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("evaluate"),
        splits=key_path_pairs("evaluate", "splits"),
        checkpoints=key_path_pairs("evaluate", "checkpoints"),
    shell:
        "tellsign evaluate"
        " --settings {params.settings:q}"
        " --scores {input.scores:q}"
        " --splits {params.splits:q}"
        " --checkpoints {params.checkpoints:q}"
        " --out {output.metrics:q}"
        " > {log:q} 2>&1"

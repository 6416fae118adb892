# One scoring job covers all seeds and test sets of a run. Metrics are computed from the scores alone.
#
# reads   checkpoints, test splits, and the method's inputs (crops or features)
# writes  data/score/PAPER/RUN.FP.parquet       p(fake) of every image
#         data/score_head/PAPER/RUN.FP.parquet  the same, by a method that needs no GPU (TIDY's heads)
#         data/evaluate/PAPER/RUN.FP.parquet    metrics with intervals


rule score:
    """p(fake) of every test image, for all seeds of a run: data/score/mpft/tam.0123456789ab.parquet"""
    input:
        checkpoints=inputs_for("score", "checkpoints"),
        splits=inputs_for("score", "splits"),
        inputs=inputs_for("score", "inputs"),
    output:
        scores="data/score/{name}.{fp}.parquet",
    log:
        "logs/score/{name}.{fp}.log",
    threads: 1
    priority: 15
    resources:
        gpu=1,
    params:
        stage="score",
        settings=settings("score"),
        checkpoints=key_path_pairs("score", "checkpoints"),
        splits=key_path_pairs("score", "splits"),
        inputs=key_path_pairs("score", "inputs"),
    shell:
        "tellsign --gpus {resources.gpu} {params.stage:q}"
        " --settings {params.settings:q}"
        " --checkpoints {params.checkpoints:q}"
        " --splits {params.splits:q}"
        " --inputs {params.inputs:q}"
        " --out {output.scores:q}"
        " > {log:q} 2>&1"


use rule score as score_head with:
    input:
        checkpoints=inputs_for("score_head", "checkpoints"),
        splits=inputs_for("score_head", "splits"),
        inputs=inputs_for("score_head", "inputs"),
    output:
        scores="data/score_head/{name}.{fp}.parquet",
    log:
        "logs/score_head/{name}.{fp}.log",
    threads: 1
    priority: 0
    resources:
        gpu=0,
    params:
        stage="score_head",
        settings=settings("score_head"),
        checkpoints=key_path_pairs("score_head", "checkpoints"),
        splits=key_path_pairs("score_head", "splits"),
        inputs=key_path_pairs("score_head", "inputs"),


rule evaluate:
    """Metrics of a run with intervals: data/evaluate/mpft/tam.0123456789ab.parquet"""
    input:
        scores=inputs_for("evaluate", "scores"),
        splits=inputs_for("evaluate", "splits"),
    output:
        metrics="data/evaluate/{name}.{fp}.parquet",
    log:
        "logs/evaluate/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("evaluate"),
        splits=key_path_pairs("evaluate", "splits"),
    shell:
        "tellsign evaluate"
        " --settings {params.settings:q}"
        " --scores {input.scores:q}"
        " --splits {params.splits:q}"
        " --out {output.metrics:q}"
        " > {log:q} 2>&1"

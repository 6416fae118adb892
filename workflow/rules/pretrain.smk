# rescale's contrastive pre-training.
#
# reads   cache/crops/photos-whole.FP/       whole decoded real photographs; or, if the recipe says
#                                            decode: on_the_fly, the split and the photographs' own files
# writes  data/pretrain/PAPER/NAME.FP/       the encoder; its projection head is discarded
# resumes from the last complete epoch, in data/work/FP/
#
# Each GPU runs one process, and all of them share each batch: snakemake --set-resources pretrain:gpu=8 --set-threads
# pretrain=32. For several nodes see docs/cluster.md.


rule pretrain:
    """An encoder, pre-trained by rescaling contrast: data/pretrain/rescale/encoder.0123456789ab/"""
    input:
        crops=inputs_for("pretrain", "crops"),
        split=inputs_for("pretrain", "split"),
        made=inputs_for("pretrain", "made"),
    output:
        encoder=directory("data/pretrain/{name}.{fp}"),
    log:
        "logs/pretrain/{name}.{fp}.log",
    threads: 1
    priority: 30
    resources:
        gpu=1,
        nodes=1,
    params:
        settings=settings("pretrain"),
        crops=optional_flag("pretrain", "crops"),
        split=optional_flag("pretrain", "split"),
        roots=roots("pretrain"),
        gpus=lambda wildcards, resources: resources.gpu // resources.nodes,
        processes=lambda wildcards, resources: max(1, resources.gpu // resources.nodes),
        everywhere=lambda wildcards, resources: (
            ["srun", f"--nodes={resources.nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
            if resources.nodes > 1
            else []
        ),
    shell:
        "{params.everywhere:q} tellsign --gpus {params.gpus:q} pretrain"
        " --settings {params.settings:q}"
        " {params.crops:q}"
        " {params.split:q}"
        " --roots {params.roots:q}"
        " --processes {params.processes:q}"
        " --work data/work/{wildcards.fp}"
        " --out {output.encoder:q}"
        " > {log:q} 2>&1"

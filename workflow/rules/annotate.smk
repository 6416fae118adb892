# TIDY's inputs: captions, boxes and CLIP embeddings.
#
# reads   cache/crops/...-whole.FP/          whole decoded images
# writes  data/caption/SPLIT-....FP.parquet  one caption for each image
#         data/ground/SPLIT-....FP.parquet   one box for each phrase of the captions
#         data/embed/SPLIT-....FP/           embeddings of images, captions and objects
# keeps   data/store/...                     every caption, box and embedding made so far, by image id, in shards
#
# Three settings change no number. A profile sets batch_size and shard_size (rows between two writes), as in
# --set-resources caption:batch_size=64. With --config caption_jobs=8, eight jobs fill the store with the captions of a
# split, and eight more with its boxes. Their own output files are temporary: results are read from the store.


rule caption:
    """A caption for every image of a split: data/caption/test-whole-1a2b.0123456789ab.parquet"""
    input:
        crops=inputs_for("caption", "crops"),
        parts=part_files("caption"),
    output:
        captions="data/caption/{name}.{fp}.parquet",
    log:
        "logs/caption/{name}.{fp}.log",
    threads: 1
    resources:
        gpu=1,
        batch_size=32,
        shard_size=256,
    params:
        settings=settings("caption"),
        store=store("caption"),
        part=[],
    shell:
        "tellsign --gpus {resources.gpu} caption"
        " --settings {params.settings:q}"
        " --crops {input.crops:q}"
        " --store {params.store:q}"
        " {params.part:q}"
        " --batch-size {resources.batch_size}"
        " --shard-size {resources.shard_size}"
        " --out {output.captions:q}"
        " > {log:q} 2>&1"


# One of several jobs that fill the store: data/work/caption/test-whole-1a2b.0123456789ab/2-of-8.parquet
use rule caption as caption_part with:
    input:
        crops=inputs_for("caption", "crops"),
    output:
        captions=temp("data/work/caption/{name}.{fp}/{part}-of-{parts}.parquet"),
    log:
        "logs/caption/{name}.{fp}.{part}-of-{parts}.log",
    params:
        part=lambda wildcards: ["--part", f"{wildcards.part}/{wildcards.parts}"],


rule ground:
    """A box for each phrase in a split's captions: data/ground/test-whole-1a2b.0123456789ab.parquet"""
    input:
        crops=inputs_for("ground", "crops"),
        caption=inputs_for("ground", "caption"),
        parts=part_files("ground"),
    output:
        boxes="data/ground/{name}.{fp}.parquet",
    log:
        "logs/ground/{name}.{fp}.log",
    threads: 1
    resources:
        gpu=1,
        batch_size=16,
        shard_size=256,
    params:
        settings=settings("ground"),
        store=store("ground"),
        part=[],
    shell:
        "tellsign --gpus {resources.gpu} ground"
        " --settings {params.settings:q}"
        " --crops {input.crops:q}"
        " --caption {input.caption:q}"
        " --store {params.store:q}"
        " {params.part:q}"
        " --batch-size {resources.batch_size}"
        " --shard-size {resources.shard_size}"
        " --out {output.boxes:q}"
        " > {log:q} 2>&1"


# One of several jobs that fill the store: data/work/ground/test-whole-1a2b.0123456789ab/2-of-8.parquet
use rule ground as ground_part with:
    input:
        crops=inputs_for("ground", "crops"),
        caption=inputs_for("ground", "caption"),
    output:
        boxes=temp("data/work/ground/{name}.{fp}/{part}-of-{parts}.parquet"),
    log:
        "logs/ground/{name}.{fp}.{part}-of-{parts}.log",
    params:
        part=lambda wildcards: ["--part", f"{wildcards.part}/{wildcards.parts}"],


rule embed:
    """Embeddings of images, captions and objects: data/embed/test-whole-1a2b.0123456789ab/"""
    input:
        crops=inputs_for("embed", "crops"),
        caption=inputs_for("embed", "caption"),
        ground=inputs_for("embed", "ground"),
    output:
        features=directory("data/embed/{name}.{fp}"),
    log:
        "logs/embed/{name}.{fp}.log",
    threads: 1
    resources:
        gpu=1,
        batch_size=64,
        shard_size=4096,
    params:
        settings=settings("embed"),
        store=store("embed"),
        caption=optional_flag("embed", "caption"),
        ground=optional_flag("embed", "ground"),
    shell:
        "tellsign --gpus {resources.gpu} embed"
        " --settings {params.settings:q}"
        " --crops {input.crops:q}"
        " {params.caption:q}"
        " {params.ground:q}"
        " --store {params.store:q}"
        " --batch-size {resources.batch_size}"
        " --shard-size {resources.shard_size}"
        " --out {output.features:q}"
        " > {log:q} 2>&1"

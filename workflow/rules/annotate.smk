# TIDY's caches: what the images show, in words and in CLIP's space.
#
# reads   cache/crops/...-whole.FP/          whole decoded images
# writes  data/caption/SPLIT-....FP.parquet  a caption an image
#         data/ground/SPLIT-....FP.parquet   a box for every phrase of it
#         data/embed/SPLIT-....FP/           embeddings of images, captions and objects


rule caption:
    input:
        crops=need("caption", "crops"),
    output:
        captions="data/caption/{name}.{fp}.parquet",
    log:
        "logs/caption/{name}.{fp}.log",
    threads: 1
    resources:
        gpu=1,
    params:
        settings=settings("caption"),
    shell:
        "tellsign caption"
        " --settings {params.settings:q}"
        " --crops {input.crops:q}"
        " --out {output.captions:q}"
        " > {log:q} 2>&1"


rule ground:
    input:
        crops=need("ground", "crops"),
        caption=need("ground", "caption"),
    output:
        boxes="data/ground/{name}.{fp}.parquet",
    log:
        "logs/ground/{name}.{fp}.log",
    threads: 1
    resources:
        gpu=1,
    params:
        settings=settings("ground"),
    shell:
        "tellsign ground"
        " --settings {params.settings:q}"
        " --crops {input.crops:q}"
        " --caption {input.caption:q}"
        " --out {output.boxes:q}"
        " > {log:q} 2>&1"


rule embed:
    input:
        crops=need("embed", "crops"),
        caption=need("embed", "caption"),
        ground=need("embed", "ground"),
    output:
        features=directory("data/embed/{name}.{fp}"),
    log:
        "logs/embed/{name}.{fp}.log",
    threads: 1
    resources:
        gpu=1,
    params:
        settings=settings("embed"),
        caption=optional("embed", "caption"),
        ground=optional("embed", "ground"),
    shell:
        "tellsign embed"
        " --settings {params.settings:q}"
        " --crops {input.crops:q}"
        " {params.caption:q}"
        " {params.ground:q}"
        " --out {output.features:q}"
        " > {log:q} 2>&1"

# From folders of images to packed pixels.
#
# reads   the benchmarks' folders (the user's, or the demo's)
# writes  data/index/BENCHMARK.FP.parquet    one row for each image: its properties and status; where the configuration
#         names subsets' folders, data/index/BENCHMARK/PART/SUBSET.FP.parquet
#         data/split/SPLIT.FP.parquet        a seeded, balanced sample
#         cache/crops/SPLIT-....FP/          its decoded pixels: large, quick to make again, not versioned


rule index:
    """A benchmark's images, or those of one subset's part, with their properties and status

    data/index/demo.0123456789ab.parquet, data/index/genimage/test/adm.0123456789ab.parquet"""
    input:
        made=inputs_for("index", "made"),
    output:
        index="data/index/{name}.{fp}.parquet",
    log:
        "logs/index/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("index"),
        roots=roots("index"),
        expected=expected_by("index"),
    shell:
        "tellsign index"
        " --settings {params.settings:q}"
        " --expected {params.expected:q}"
        " --roots {params.roots:q}"
        " --out {output.index:q}"
        " > {log:q} 2>&1"


rule split:
    """A seeded, balanced sample of a benchmark's part: data/split/test.0123456789ab.parquet"""
    input:
        index=inputs_for("split", "index"),
        later=inputs_for("split", "later"),
    output:
        split="data/split/{name}.{fp}.parquet",
    log:
        "logs/split/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("split"),
        later=optional_flag("split", "later"),
    shell:
        "tellsign split"
        " --settings {params.settings:q}"
        " --index {input.index:q}"
        " {params.later:q}"
        " --out {output.split:q}"
        " > {log:q} 2>&1"


rule crops:
    """A split's pixels, decoded once: cache/crops/train-whole.0123456789ab/"""
    input:
        split=inputs_for("crops", "split"),
        made=inputs_for("crops", "made"),
    output:
        crops=directory("cache/crops/{name}.{fp}"),
    log:
        "logs/crops/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("crops"),
        roots=roots("crops"),
    shell:
        "tellsign crops"
        " --settings {params.settings:q}"
        " --split {input.split:q}"
        " --roots {params.roots:q}"
        " --out {output.crops:q}"
        " > {log:q} 2>&1"

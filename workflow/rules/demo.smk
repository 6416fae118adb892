# The embedded world: photographs and generators, made on the spot.
#
# reads   nothing
# writes  data/demo_photos/PART.FP/          photographs of one part and what they show
#         data/demo_generator/NAME.FP/       images of one trained generator, parts train and test
# by hand data: demo_weights retrains the tiny towers that ship with the package


rule demo_photos:
    """Photographs of one part, drawn: data/demo_photos/train.0123456789ab/"""
    output:
        photos=directory("data/demo_photos/{name}.{fp}"),
    log:
        "logs/demo_photos/{name}.{fp}.log",
    threads: 1
    params:
        settings=settings("demo_photos"),
    shell:
        "tellsign demo_photos"
        " --settings {params.settings:q}"
        " --out {output.photos:q}"
        " > {log:q} 2>&1"


rule demo_generator:
    """A generator, trained and sampled: data/demo_generator/ldm.0123456789ab/"""
    input:
        source=inputs_for("demo_generator", "source"),
        prompt_train=inputs_for("demo_generator", "prompt_train"),
        prompt_test=inputs_for("demo_generator", "prompt_test"),
    output:
        images=directory("data/demo_generator/{name}.{fp}"),
    log:
        "logs/demo_generator/{name}.{fp}.log",
    threads: 1
    priority: 20
    params:
        settings=settings("demo_generator"),
    shell:
        "tellsign demo_generator"
        " --settings {params.settings:q}"
        " --source {input.source:q}"
        " --prompt-train {input.prompt_train:q}"
        " --prompt-test {input.prompt_test:q}"
        " --out {output.images:q}"
        " > {log:q} 2>&1"


rule demo_weights:
    """The tiny networks that ship with the package, trained anew: data/demo_weights/"""
    output:
        weights=directory("data/demo_weights"),
    log:
        "logs/demo_weights/demo_weights.log",
    threads: 1
    shell:
        "tellsign demo_weights"
        " --out {output.weights:q}"
        " > {log:q} 2>&1"

# The demo's own data: rendered photographs, and images by small generators.
#
# reads   nothing
# writes  data/demo_photos/PART.FP/          photographs of one part, and what they show
#         data/demo_generator/NAME.FP/       training and test images by one generator
#
# No target needs demo_weights; run it by name to retrain the small networks that ship with the package.


rule demo_photos:
    """Rendered photographs of one part: data/demo_photos/train.0123456789ab/"""
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
    """The small networks that ship with the package, trained again: data/demo_weights/"""
    output:
        weights=directory("data/demo_weights"),
    log:
        "logs/demo_weights/demo_weights.log",
    threads: 1
    shell:
        "tellsign demo_weights"
        " --out {output.weights:q}"
        " > {log:q} 2>&1"

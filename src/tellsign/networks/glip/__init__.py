"""GLIP (Li et al. 2022, "Grounded Language-Image Pre-training"): phrases of a caption to boxes, for inference.

Swin and a feature pyramid see the image, BERT reads the caption, a tower of fusion, text and dynamic-convolution
layers joins them, and every place of the pyramid says how well it fits each token. The arithmetic follows
microsoft/GLIP at commit 9dda955, quirks included, because the released weights were trained with them.
"""

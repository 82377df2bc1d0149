"""Files in, files out: images with exact geometry, answers on the same grid."""

"""`hilum run`: a table of images and prompts, worked through by processes or a cluster, gone on with when stopped."""

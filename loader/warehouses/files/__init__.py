"""Destinations that are files: one object or many per table, in a bucket or a directory, in CloudQuery's dialects.

`options` and `paths` say what may be written in a spec and where a row ends up; `dialects` what a value
looks like; `roll` cuts rows into objects; `warehouse` writes them; `s3`, `file`, `gcs`, `azblob` and `csv`
are the plugins, each a store and a model of options.
"""

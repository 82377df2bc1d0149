"""Adapting a system to the user's own labelled cases: methods, folders, merging, reports."""

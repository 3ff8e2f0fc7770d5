"""A suite that any settlement engine can be run against, by whomever it was written."""

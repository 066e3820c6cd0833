"""The API that people script against: `requests`, what can be asked; `objects`, what is told.

Each of them is written once, here; JSON Schemas, `docs/asyncapi.yaml` and the tables of `docs/mqtt.md` are made of it.
"""

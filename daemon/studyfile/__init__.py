"""The study file: what people write, checked and completed into a `StudySpec`.

`tables` says what may stand in the file, `words` knows what users of other tools write instead, `build` makes the spec,
`compare` the studies of a comparison. pydantic stays in this package and at the door (`daemon/api`).
"""

from cnnbo.daemon.studyfile.build import load_comparison, load_study, parse_study, read_study_data

__all__ = ["load_comparison", "load_study", "parse_study", "read_study_data"]

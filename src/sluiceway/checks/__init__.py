"""The questions of the data gate: each looks at the data from one side and answers with a finding."""

"""Files and text that others made or may touch: opened, written and shown in one place each.

`reading.py` opens what a stranger sent: a regular file, within a limit, in linear time.
`writing.py` puts a file in place whole, over nothing that was there, through no link.
`torch_file.py` looks at a `.pt` file before torch does. `text.py` is the only way of a
stranger's text to a terminal, a log, a page or generated code.
"""

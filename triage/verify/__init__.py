"""Does a fix do what it says: red without it, green with it, equal to an SGLang without the defect.

`proof.py` what a verification found; `lab.py` fixes that whole requests can show;
`cases.py` fixes that one call can show; `clamp.py` what the clamp costs; `child.py` runs a
case under another release.
"""

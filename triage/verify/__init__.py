"""Does a fix do what it says: red without it, green with it, equal to an SGLang without the defect.

proof       what a verification found, and the table that shows it
prove       runs each fix in processes of its own; fixes that whole requests can show
cases       fixes that one call can show
stand_ins   what those calls are handed where the real thing needs a checkpoint or a GPU
binding     a fix's hooks, bound for a while
child       runs a case under another release
clamp       what the clamp costs
"""

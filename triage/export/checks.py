"""The part that exported files share: which entries are visible, and what is wrong with them.

It is written out into every file, so it needs nothing but Python.
"""

from __future__ import annotations

CHECKS = '''\
def visible_columns(row):
    """Columns that some query of the row can see: its window, its own tokens included."""
    oldest = 0
    if WINDOW_LEFT >= 0:
        oldest = max(CACHE_SEQLENS[row] - Q_LENS[row] - WINDOW_LEFT, 0)
    return range(oldest // PAGE_SIZE, -(-CACHE_SEQLENS[row] // PAGE_SIZE))


def right_page(row, column):
    """The page of the token at `column * PAGE_SIZE`, in the pool that is read; None if unknown."""
    if PAGE_STARTS is None:
        return None
    slot = PAGE_STARTS[row][column]
    if FULL_TO_SWA is not None:
        slot = FULL_TO_SWA.get(slot)
    return None if slot is None else slot // PAGE_SIZE


def rebuilt_table():
    """The recorded table with every visible entry replaced by the right one."""
    table = [list(row) for row in PAGE_TABLE]
    for row in range(len(table)):
        for column in visible_columns(row):
            if column < len(table[row]) and right_page(row, column) is not None:
                table[row][column] = right_page(row, column)
    return table


def outside_entries(table):
    """Visible entries that are no page of the cache; page 0 is padding."""
    return [
        (row, column, table[row][column])
        for row in range(len(table))
        for column in visible_columns(row)
        if column < len(table[row]) and not 1 <= table[row][column] < NUM_PAGES
    ]


def foreign_entries(table):
    """Visible entries that are not the page of their token."""
    return [
        (row, column, table[row][column], right_page(row, column))
        for row in range(len(table))
        for column in visible_columns(row)
        if column < len(table[row])
        and right_page(row, column) is not None
        and table[row][column] != right_page(row, column)
    ]


def form_faults(dtype, stride, width):
    """What a kernel that takes the table for contiguous int32 would misread."""
    faults = []
    if dtype != "int32":
        faults.append(f"the table is {dtype}, the kernel reads int32 words")
    if len(CACHE_SEQLENS) > 1 and stride != [width, 1]:
        faults.append(f"rows are {stride[0]} apart, the kernel reads them {width} apart")
    if max(CACHE_SEQLENS) > width * PAGE_SIZE:
        faults.append(f"{width} columns hold {width * PAGE_SIZE} of {max(CACHE_SEQLENS)} tokens")
    return faults
'''

import unittest

import torch
from sglang.kernels.ops.attention.trtllm_mha_page_table import build_trtllm_mha_page_table
from sglang.test.test_utils import CustomTestCase

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # with TRITON_INTERPRET=1
PAGE, COLUMNS, UNTOUCHED = 16, 4, -7


class TestPageTableWidth(CustomTestCase):
    """A row whose length needs more pages than the table has columns stays in its row."""

    def build(self, lengths):
        rows = len(lengths)
        width = (COLUMNS + 1) * PAGE
        req_to_token = torch.arange(rows * width, dtype=torch.int32, device=DEVICE)
        mapping = torch.arange(rows * width, dtype=torch.int64, device=DEVICE)
        full, swa = (
            torch.full((rows + 1, COLUMNS), UNTOUCHED, dtype=torch.int32, device=DEVICE)
            for _ in range(2)
        )
        build_trtllm_mha_page_table(
            req_to_token=req_to_token.view(rows, width),
            req_pool_indices=torch.arange(rows, dtype=torch.int64, device=DEVICE),
            cache_seqlens=torch.tensor(lengths, dtype=torch.int32, device=DEVICE),
            page_table=full[:rows],
            page_size=PAGE,
            swa_page_table=swa[:rows],
            full_to_swa=mapping,
        )
        return full, swa

    def test_the_next_row_and_what_lies_behind_the_table_are_left_alone(self):
        # Row 0 needs a fifth page; row 1 has none, and nothing lies behind it.
        for lengths in ([COLUMNS * PAGE + 3, 0], [0, COLUMNS * PAGE + 3]):
            for table in self.build(lengths):
                longest = lengths.index(max(lengths))
                expected = torch.full_like(table, UNTOUCHED)
                first = longest * (COLUMNS + 1)
                expected[longest] = torch.arange(first, first + COLUMNS, dtype=torch.int32)
                torch.testing.assert_close(table, expected)

    def test_rows_that_fit_are_filled_as_before(self):
        for table in self.build([PAGE + 1, COLUMNS * PAGE]):
            self.assertEqual(table[0].tolist(), [0, 1, UNTOUCHED, UNTOUCHED])
            self.assertEqual(table[1].tolist(), [5, 6, 7, 8])


if __name__ == "__main__":
    unittest.main()

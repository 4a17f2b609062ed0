"""Children whose truth the tests know, and ways to look at them."""

"""LENNA: collect latencies of blocks, study how many estimates a label takes, fit predictors."""

"""Events as Parquet files in an object store's layout, which analytics databases load."""

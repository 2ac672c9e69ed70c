"""MDETR's JSON, which GoldG comes in."""

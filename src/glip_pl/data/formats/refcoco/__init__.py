"""RefCOCO and its relatives: references to boxes of COCO."""

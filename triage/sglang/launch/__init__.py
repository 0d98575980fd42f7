"""What stands at an attention launch: the FlashInfer call, its pools, metadata and checks."""

"""What stands at SGLang's allocators, request tables and trees."""

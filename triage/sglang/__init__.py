"""The only folder that knows SGLang: where things live, what they are called, how to read them."""

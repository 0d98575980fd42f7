"""How our hooks get into SGLang: names, registry, patches, wrappers, installation."""

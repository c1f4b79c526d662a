from tests.layers.small import first_config, fresh

__all__ = ["first_config", "fresh"]

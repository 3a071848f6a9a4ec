"""The model adapters. The bundled ones are found through the same entry points as anybody else's."""

"""The portal: `app_pages/` draw, `views/` compute, `loaders.py` reads marts."""

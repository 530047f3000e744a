"""The embedded world: pictures of signs with captions, composed from masks that come with the package."""

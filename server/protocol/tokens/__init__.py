"""The tokens that leave Gatepost and come back: access tokens, ID tokens, and the response that carries them."""

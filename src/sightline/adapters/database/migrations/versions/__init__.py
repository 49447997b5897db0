"""One module a step; a step that has shipped is never changed."""

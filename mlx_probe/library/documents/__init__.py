"""Documents of a project: made from templates, checked, indexed and searched."""

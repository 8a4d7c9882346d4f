"""The explorer: ipywidgets and two anywidgets on top of the views."""

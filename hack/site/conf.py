"""What Sphinx reads: the pages are Markdown as a code host shows it, without the syntax that MyST adds."""

project = "Dynamic Toolset Service"
extensions = ["myst_parser", "sphinx.ext.githubpages"]  # GitHub Pages then serves the folders that begin with _
smartquotes = False
suppress_warnings = ["myst.header"]  # a heading below the title that is not of level 2

myst_enable_extensions = ["alert", "gfm_autolink", "strikethrough", "tasklist"]
myst_disable_syntax = ["myst_block_break", "myst_line_comment", "myst_role", "myst_target"]
myst_heading_anchors = 6

html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = False

"""From run files to pictures: figures, the HTML report."""

"""What a person sees of a finished study: figures and one page that opens offline."""

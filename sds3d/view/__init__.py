"""What a person sees of a scene: contact sheets, turntables, the report page."""

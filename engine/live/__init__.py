"""What answers while labels are drawn: previews of the map, grown regions, figures; one process per label layer."""

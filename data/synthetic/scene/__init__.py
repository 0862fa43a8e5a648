"""What a synthetic camera sees: objects, room, light, photographs."""

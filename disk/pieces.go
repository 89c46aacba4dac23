package disk

// pieceWriter is a device that writes pieces of memory to one place without putting them together.
type pieceWriter interface {
	// writePieces is WriteAt of the pieces, one behind the other.
	writePieces(pieces [][]byte, off int64) error
}

// WritePieces is WriteAt of pieces that are neighbours on the device, as one write: gathered in room, which
// it returns for the next time, unless the device takes them as they are.
func WritePieces(d Device, pieces [][]byte, room []byte, off int64) ([]byte, error) {
	if w, ok := d.(pieceWriter); ok {
		return room, w.writePieces(pieces, off)
	}
	room = room[:0]
	for _, p := range pieces {
		room = append(room, p...)
	}
	_, err := d.WriteAt(room, off)
	return room, err
}

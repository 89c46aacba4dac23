package layout

// A checksum-table block holds the CRC-32C of data blocks, four bytes each, by place
// (Geometry.SumPlace). The entry of a block that holds no written data has no meaning.
//
//	header: owner = group, index = number of the table block in its group, count, aux 0

// DataSum is entry i of checksum-table block p.
func DataSum(p []byte, i int) uint32 { return le.Uint32(BlockBody(p)[4*i:]) }

// SetDataSum writes entry i of checksum-table block p.
func SetDataSum(p []byte, i int, sum uint32) { le.PutUint32(BlockBody(p)[4*i:], sum) }

/* The one function of bcryptprimitives.dll that Rust's library asks for its random bytes, and that wine before 9 has not.
   Made for the test under wine alone: Windows brings its own. */

__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *bytes, unsigned long length);

__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *bytes, unsigned long long length)
{
    while (length > 0) {
        unsigned long piece = length > 65536 ? 65536 : (unsigned long)length;
        if (!SystemFunction036(bytes, piece))
            return 0;
        bytes += piece;
        length -= piece;
    }
    return 1;
}

int __stdcall DllMainCRTStartup(void *instance, unsigned long reason, void *reserved)
{
    (void)instance, (void)reason, (void)reserved;
    return 1;
}
